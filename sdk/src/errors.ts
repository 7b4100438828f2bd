/** What the server says when it will not do something: the same shape in an acknowledgement, in
 * `connect_error` and (with `status`) in an HTTP problem. */
export interface WireError {
  code: string;
  message: string;
  retryable?: boolean;
  reference?: string;
  status?: number;
  /** Whatever else the server said, such as `limit` or `names`. */
  details?: Record<string, unknown>;
}

/** A refusal or failure with a stable `code`. `retryable` says whether the same request may succeed later. */
export class ParlourError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly reference: string | undefined;
  readonly status: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(error: WireError) {
    super(error.message || error.code);
    this.name = 'ParlourError';
    this.code = error.code;
    this.retryable = error.retryable ?? false;
    this.reference = error.reference;
    this.status = error.status;
    this.details = error.details ?? {};
  }

  /** Read whatever stands under `error` in an acknowledgement. */
  static from(value: unknown): ParlourError {
    if (value instanceof ParlourError) return value;
    const fields = isRecord(value) ? value : {};
    return new ParlourError({
      code: text(fields['code']) ?? 'error',
      message: text(fields['message']) ?? 'The server refused without a reason.',
      retryable: fields['retryable'] === true,
      details: fields,
      ...(text(fields['reference']) ? { reference: text(fields['reference'])! } : {}),
    });
  }
}

/** No answer came within the time limit, or the connection closed first. */
export function unanswered(message: string): ParlourError {
  return new ParlourError({ code: 'unanswered', message, retryable: true });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
