/** Notifications of the operating system, and a tone, for what happens while nobody looks. */

import { address, BASE, storageKey } from './base';
import { preferences } from './preferences.svelte';
import { router } from './router.svelte';

const KEY = storageKey('notifications');
/** Characters of a message that a notification shows. */
const LONGEST = 300;
const ICON = `${BASE}icons/192.png`;

export type Permission = NotificationPermission | 'unsupported';

export interface News {
  title: string;
  body: string;
  /** Another one about the same thing replaces this one. */
  tag: string;
  /** What it opens, below the application's root. */
  path: string;
}

class Notifications {
  permission = $state<Permission>(permissionNow());
  #wanted = $state(stored());

  /** The person switched them on here, and the browser agrees. */
  get on(): boolean {
    return this.#wanted && this.permission === 'granted';
  }

  /** Switch them on for this browser, which may ask the person. */
  async switch(on: boolean): Promise<void> {
    if (on && this.permission === 'default') {
      this.permission = await Notification.requestPermission();
    }
    this.#wanted = on && this.permission === 'granted';
    try {
      localStorage.setItem(KEY, this.#wanted ? 'on' : 'off');
    } catch {
      // Without storage it lasts as long as the page.
    }
  }

  tell(news: News): void {
    if (preferences.sounds) playTone();
    if (!this.on) return;
    try {
      const shown = new Notification(news.title, optionsOf(news));
      shown.addEventListener('click', () => {
        window.focus();
        shown.close();
        router.go(news.path);
      });
    } catch {
      // Browsers of phones let only a service worker show them.
      void showByWorker(news);
    }
  }
}

async function showByWorker(news: News): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration(BASE);
  await registration?.showNotification(news.title, optionsOf(news)).catch(() => undefined);
}

function optionsOf({ body, tag, path }: News): NotificationOptions {
  // The page has a tone of its own, which the person can switch off.
  return {
    ...{ body: body.slice(0, LONGEST), tag, icon: ICON, silent: true },
    data: { url: address(path) },
  };
}

function permissionNow(): Permission {
  return 'Notification' in globalThis ? Notification.permission : 'unsupported';
}

function stored(): boolean {
  try {
    return localStorage.getItem(KEY) === 'on';
  } catch {
    return false;
  }
}

let audio: AudioContext | null = null;

/** Two soft notes. Silent until the person has touched the page once: browsers want it so. */
function playTone(): void {
  if (!('AudioContext' in globalThis)) return;
  audio ??= new AudioContext();
  if (audio.state === 'suspended') void audio.resume().catch(() => undefined);
  const { currentTime: now, destination } = audio;
  for (const [index, pitch] of [659.25, 880].entries()) {
    const note = audio.createOscillator();
    const volume = audio.createGain();
    const at = now + index * 0.09;
    note.frequency.value = pitch;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.07, at + 0.015);
    volume.gain.exponentialRampToValueAtTime(0.0005, at + 0.3);
    note.connect(volume).connect(destination);
    note.start(at);
    note.stop(at + 0.32);
  }
}

export const notifications = new Notifications();
