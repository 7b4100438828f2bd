import { toast } from 'svelte-sonner';

const SHOW = {
  info: toast.info,
  success: toast.success,
  warning: toast.warning,
  error: toast.error,
};

/** Show what an app pushed: `{ level, text }`. Anything else is left out. */
export function showNotice(data: unknown): void {
  if (typeof data !== 'object' || data === null) return;
  const { level, text } = data as { level?: unknown; text?: unknown };
  if (typeof text !== 'string' || text === '') return;
  const show =
    typeof level === 'string' && Object.hasOwn(SHOW, level)
      ? SHOW[level as keyof typeof SHOW]
      : toast.info;
  show(text);
}
