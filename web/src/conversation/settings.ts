import type { Widget } from '@parlour/sdk';

export type SettingValue = string | number | boolean | null | undefined;

export function initialValues(widgets: readonly Widget[]): Record<string, SettingValue> {
  return Object.fromEntries(widgets.map((widget) => [widget.id, initialValue(widget)]));
}

function initialValue(widget: Widget): SettingValue {
  const given = widget.initial;
  if (given !== undefined && given !== null) return given as SettingValue;
  if (widget.type === 'switch') return false;
  if (widget.type === 'slider') return widget.min ?? 0;
  if (widget.type === 'select') return widget.items?.[0]?.value ?? '';
  return widget.type === 'number' ? null : '';
}
