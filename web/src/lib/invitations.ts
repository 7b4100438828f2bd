/** Somebody shared a conversation with this person: told where they look, or by the operating system. */

import { toast } from 'svelte-sonner';

import { t } from './i18n.svelte';
import { notifications } from './notifications.svelte';
import { preferences } from './preferences.svelte';
import { router, threadPath } from './router.svelte';
import type { Invitation } from './threads.svelte';

export function showInvitation({ row, by }: Invitation): void {
  const path = threadPath(row.id);
  const name = row.title || row.preview || t('thread.untitled');
  const title = t('notice.shared', { name: by.name });
  if (document.visibilityState === 'visible') {
    const open = { label: t('notice.open'), onClick: () => router.go(path) };
    toast.info(title, { description: name, action: open });
  } else if (preferences.notify !== 'none') {
    notifications.tell({ title, body: name, tag: `shared ${row.id}`, path });
  }
}
