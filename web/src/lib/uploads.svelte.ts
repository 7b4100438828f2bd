import { newId, ParlourError, type Api, type FileRef } from '@parlour/sdk';

import { t } from './i18n.svelte';
import { explain } from './problems';

export class Upload {
  readonly key = newId();
  readonly file: File;
  share = $state(0);
  state = $state<'sending' | 'done' | 'failed'>('sending');
  error = $state<string | null>(null);
  ref = $state.raw<FileRef | null>(null);
  readonly #abort = new AbortController();
  readonly finished: Promise<void>;

  constructor(api: Api, file: File, threadId: string) {
    this.file = file;
    this.finished = this.#send(api, threadId);
  }

  cancel(): void {
    this.#abort.abort();
  }

  async #send(api: Api, threadId: string): Promise<void> {
    try {
      this.ref = await api.upload(this.file, {
        threadId,
        signal: this.#abort.signal,
        onProgress: (share) => (this.share = share),
      });
      this.share = 1;
      this.state = 'done';
    } catch (error) {
      this.state = 'failed';
      this.error = error instanceof ParlourError ? explain(error) : t('upload.failed');
    }
  }
}

/** Files that were chosen for the next message or for an ask. */
export class Uploads {
  items = $state.raw<readonly Upload[]>([]);
  #api: Api;
  #threadId: string;

  constructor(api: Api, threadId: string) {
    this.#api = api;
    this.#threadId = threadId;
  }

  /** Start sending. `maxBytes` refuses a file before a byte of it leaves; gives back the refused ones. */
  add(files: Iterable<File>, maxBytes = Infinity): File[] {
    const refused: File[] = [];
    for (const file of files) {
      if (file.size > maxBytes) refused.push(file);
      else this.items = [...this.items, new Upload(this.#api, file, this.#threadId)];
    }
    return refused;
  }

  remove(upload: Upload): void {
    upload.cancel();
    this.items = this.items.filter((item) => item !== upload);
  }

  get sending(): boolean {
    return this.items.some((item) => item.state === 'sending');
  }

  get refs(): FileRef[] {
    return this.items.map((item) => item.ref).filter((ref) => ref !== null);
  }

  /** The files are part of a message now. */
  clear(): void {
    this.items = [];
  }
}
