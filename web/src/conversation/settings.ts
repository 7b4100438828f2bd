import type { Widget } from '@parlour/sdk';

export type SettingValue = string | number | boolean | null | undefined;

export interface Option {
  value: string;
  label: string;
}

/** The choices of a select, from whichever form the app gave them in. */
export function optionsOf(widget: Widget): Option[] {
  if (widget.items) {
    return Object.entries(widget.items).map(([label, value]) => ({ label, value }));
  }
  return (widget.options ?? widget.values ?? []).map((option) =>
    typeof option === 'string' ? { value: option, label: option } : option,
  );
}

export function initialValues(widgets: readonly Widget[]): Record<string, SettingValue> {
  return Object.fromEntries(widgets.map((widget) => [widget.id, initialValue(widget)]));
}

function initialValue(widget: Widget): SettingValue {
  const given = widget.initial;
  if (given !== undefined && given !== null) return given as SettingValue;
  if (widget.type === 'switch') return false;
  if (widget.type === 'slider') return widget.min ?? 0;
  if (widget.type === 'select') return optionsOf(widget)[0]?.value ?? '';
  return widget.type === 'number' ? null : '';
}
