/** Beginning sessions, and taking their recordings out and in. */

import { ParlourError, type AgentSettings, type AgentTrajectory } from '@parlour/sdk';

import { report } from '../lib/app.svelte';
import { t } from '../lib/i18n.svelte';
import { agentPath, router } from '../lib/router.svelte';
import type { Agents } from './directory.svelte';

/** Begin a session with its first message and go there. False when it was refused. */
export async function begin(
  agents: Agents,
  message: string,
  settings: AgentSettings,
): Promise<boolean> {
  try {
    const session = await agents.api.begin({ message, settings });
    void agents.reload();
    router.go(agentPath(session.id));
    return true;
  } catch (error) {
    report(error, t('agent.begin-failed'));
    return false;
  }
}

/** Show a recording that was taken out somewhere. */
export async function openRecording(agents: Agents, file: File): Promise<void> {
  try {
    const session = await agents.api.importTrajectory(parse(await file.text()), titleOf(file.name));
    void agents.reload();
    router.go(agentPath(session.id));
  } catch (error) {
    report(error, t('agent.open-failed'));
  }
}

function parse(text: string): AgentTrajectory {
  try {
    return JSON.parse(text) as AgentTrajectory;
  } catch {
    throw new ParlourError({ code: 'invalid_payload', message: t('agent.no-recording') });
  }
}

const titleOf = (name: string): string => name.replace(/\.json$/, '').slice(0, 200);

/** Offer a recording as a file to keep. */
export function save(trajectory: AgentTrajectory, name: string): void {
  const blob = new Blob([JSON.stringify(trajectory, null, 1)], { type: 'application/json' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replace(/[^\p{L}\p{N}._-]+/gu, '-').slice(0, 80)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
