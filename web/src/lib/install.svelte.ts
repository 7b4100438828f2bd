/** Installing the page as an app of its own, where the browser offers it. */

interface InstallPrompt extends Event {
  prompt(): Promise<unknown>;
}

class Install {
  #offer = $state.raw<InstallPrompt | null>(null);

  constructor() {
    addEventListener('beforeinstallprompt', (event) => {
      // The page offers it in its settings instead of in the middle of something.
      event.preventDefault();
      this.#offer = event as InstallPrompt;
    });
    addEventListener('appinstalled', () => (this.#offer = null));
  }

  get possible(): boolean {
    return this.#offer !== null;
  }

  async ask(): Promise<void> {
    const offer = this.#offer;
    this.#offer = null;
    await offer?.prompt();
  }
}

export const install = new Install();
