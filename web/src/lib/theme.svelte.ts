export type ThemeChoice = 'system' | 'light' | 'dark';

const KEY = 'parlour.theme';

function stored(): ThemeChoice {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

/** Light or dark: the system's choice until the person makes one. `public/theme.js` applies the same rule
 * before the first paint. */
class Theme {
  choice = $state<ThemeChoice>(stored());
  #system = matchMedia('(prefers-color-scheme: dark)');
  #systemDark = $state(this.#system.matches);

  constructor() {
    this.#system.addEventListener('change', ({ matches }) => {
      this.#systemDark = matches;
      this.#apply();
    });
  }

  get dark(): boolean {
    return this.choice === 'system' ? this.#systemDark : this.choice === 'dark';
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    this.#apply();
  }

  #apply(): void {
    document.documentElement.classList.toggle('dark', this.dark);
  }
}

export const theme = new Theme();
