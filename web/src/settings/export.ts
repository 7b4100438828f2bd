/** All conversations of a person, with their messages, for them to keep. */

import type { Api, Message, ThreadRow } from '@parlour/sdk';

export interface ExportedThread extends ThreadRow {
  messages: Message[];
}

/** Newest first. `onprogress` hears how many conversations there are so far. */
export async function exportThreads(
  api: Api,
  onprogress: (count: number) => void,
): Promise<ExportedThread[]> {
  const found: ExportedThread[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page = await api.threads({ limit: 100, ...(cursor ? { cursor } : {}) });
    for (const row of page.items) {
      found.push({ ...row, messages: await messagesOf(api, row.id) });
      onprogress(found.length);
    }
    cursor = page.next_cursor;
  }
  return found;
}

async function messagesOf(api: Api, threadId: string): Promise<Message[]> {
  let messages: Message[] = [];
  let before: string | null = '';
  while (before !== null) {
    const page = await api.messages(threadId, { limit: 200, ...(before ? { before } : {}) });
    messages = [...page.items, ...messages];
    before = page.next_cursor;
  }
  return messages;
}

/** Hand a text to the browser as a file. */
export function download(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser reads it after this turn.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
