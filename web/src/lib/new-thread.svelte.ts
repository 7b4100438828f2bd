import { newId } from '@parlour/sdk';

import { storageKey } from './base';

const KEY = storageKey('new');

/** The conversation that stands open at `/` before anything was said in it. Its id is made here and kept
 * for the tab, so that a reload finds the same greeting or question instead of starting another one. */
class NewThread {
  id = $state(stored() ?? newId());

  constructor() {
    this.#store();
  }

  renew(): void {
    this.id = newId();
    this.#store();
  }

  #store(): void {
    try {
      sessionStorage.setItem(KEY, this.id);
    } catch {
      // Without storage a reload starts another conversation.
    }
  }
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export const newThread = new NewThread();
