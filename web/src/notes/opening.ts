import { report } from '../lib/app.svelte';
import { t } from '../lib/i18n.svelte';
import { notePath, router } from '../lib/router.svelte';
import type { Notes } from './directory.svelte';

/** Make an empty note and go there. */
export async function createNote(notes: Notes, markdown?: string): Promise<void> {
  try {
    const note = await notes.api.create(markdown ? { markdown } : {});
    void notes.reload();
    router.go(notePath(note.id));
  } catch (error) {
    report(error, t('note.create-failed'));
  }
}
