export { AgentList, foldAgentRows } from './agents/agent-list.js';
export { AgentsApi } from './agents/agents-api.js';
export type {
  AgentEventsPage,
  AgentFile,
  AgentInfo,
  AgentMembers,
  AgentSettings,
  AgentSettingsInForce,
  AgentTrajectory,
  Confirmation,
  LiveAgent,
  LiveAgents,
  NewAgentSession,
} from './agents/agents-api.js';
export { AgentSession } from './agents/agent-session.js';
export type { AgentView, Decision, PendingAgentMessage } from './agents/agent-session.js';
export { AGENT_EVENT_TYPES, readAgentEvent } from './agents/events.js';
export type {
  AgentActionEvent,
  AgentActions,
  AgentEvent,
  AgentObservationEvent,
  AgentObservations,
  AgentRequest,
  AgentRole,
  AgentState,
  AgentUsage,
  CommandExtras,
  InputPolicy,
  StateExtras,
  UnknownAgentEvent,
} from './agents/events.js';
export { Recording } from './agents/recording.js';
export type { AgentMoment } from './agents/recording.js';
export {
  AGENT_AT_WORK,
  AGENT_ENDS,
  AGENT_REQUESTS,
  agentStateFrom,
  EMPTY_AGENT_STATE,
  foldAgentState,
  mayRequest,
} from './agents/state.js';
export type {
  AgentInput,
  AgentSessionState,
  PendingAction,
  PendingRequest,
} from './agents/state.js';
export { EMPTY_TIMELINE, foldTimeline } from './agents/timeline.js';
export type {
  CommentItem,
  EndItem,
  ErrorItem,
  MessageItem,
  NoteItem,
  StateItem,
  StepAction,
  StepItem,
  StepName,
  StepStatus,
  Timeline,
  TimelineItem,
} from './agents/timeline.js';
export {
  channelFromSnapshot,
  channelName,
  countsAsUnread,
  EMPTY_CHANNEL,
  findMessage,
  foldChannel,
  renewChannel,
  withMembers,
  withMessages,
  withParent,
  withReplies,
} from './channel.js';
export type {
  ChannelEvent,
  ChannelInfo,
  ChannelKind,
  ChannelMember,
  ChannelMessage,
  ChannelMessages,
  ChannelRole,
  ChannelSnapshot,
  ChannelState,
  Membership,
  Reaction,
} from './channel.js';
export { Channel } from './channel-view.js';
export type { ChannelView, PendingChannelMessage, SendOptions } from './channel-view.js';
export { ChannelsApi } from './channels-api.js';
export type {
  LiveConnection,
  LiveNode,
  LiveOverview,
  MessagesPage,
  NewChannel,
} from './channels-api.js';
export { ChannelList, foldChannelRows } from './channel-list.js';
export type { ChannelNews } from './channel-list.js';
export { Chats, foldChats, foldSharedChats, mergeChats } from './chats.js';
export type { ChatsOptions, ChatsView } from './chats.js';
export { DurableCommands } from './command-store.js';
export type { DurableCommandsOptions } from './command-store.js';
export { Outbox } from './commands.js';
export type { Answer, Command, CommandStore, PendingCommand } from './commands.js';
export { connect, Connection, PROTOCOL } from './connection.js';
export type { ConnectionState, ConnectOptions, Phase, Welcome } from './connection.js';
export { Conversation } from './conversation.js';
export type {
  ConversationOptions,
  ConversationView,
  History,
  OlderState,
  PendingMessage,
} from './conversation.js';
export { digest } from './digest.js';
export { DocumentCopies } from './documents/copies.js';
export type { DocumentCopiesOptions } from './documents/copies.js';
export { NotesApi } from './documents/notes-api.js';
export type {
  Note,
  NoteChange,
  NoteChanges,
  NoteGrants,
  NotePermission,
  NoteRow,
  NoteVersion,
  NoteVersionText,
} from './documents/notes-api.js';
export { ParlourError } from './errors.js';
export type { WireError } from './errors.js';
export { List } from './lists.js';
export type { Listed } from './lists.js';
export { mergeModels, Models } from './models.js';
export type { Model } from './models.js';
export { Notes } from './notes.js';
export type * as Wire from './generated/wire.js';
export { newId } from './ids.js';
export { foldPresence, Presence, Typing } from './presence.js';
export type { People, PresenceStatus, Present } from './presence.js';
export type * from './protocol.js';
export { Api } from './rest.js';
export type {
  ApiOptions,
  AppInfo,
  AuthConfig,
  Paged,
  Profile,
  SignedIn,
  Starter,
  UploadOptions,
  User,
  VersionInfo,
  Widget,
} from './rest.js';
export { Store } from './store.js';
export type { Readable, Unsubscribe } from './store.js';
export { Follower, readEvent, readTime } from './streams.js';
export type { FollowHandlers } from './streams.js';
export { createStores } from './stores.js';
export type { Stores, StoresOptions } from './stores.js';
export { Tabs } from './tabs.js';
export type { TabsOptions } from './tabs.js';
export {
  EMPTY_THREAD,
  EVENT_TYPES,
  fold,
  MESSAGE_WINDOW,
  STEP_WINDOW,
  threadFromSnapshot,
  threadToSnapshot,
} from './thread.js';
export type { FoldEvent, ThreadState } from './thread.js';
export { listUnsent, UnsentCommands } from './unsent.js';
export type { Place, Unsent } from './unsent.js';
export { foldSettings, UserSettings } from './user-settings.js';
export type { Settings, SettingsState } from './user-settings.js';
export { UserStream } from './user-stream.js';
export type { UserStreamHandlers } from './user-stream.js';
export { planReload, unregisterWorkers, Version } from './version.js';
export type { Deployment, Plan, Reload, VersionOptions, VersionState } from './version.js';
