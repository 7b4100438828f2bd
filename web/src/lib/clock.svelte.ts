/** The present time, for countdowns; ticks only while `running` says so. Make it in a component. */
export class Clock {
  now = $state(Date.now());

  constructor(running: () => boolean, everyMs = 500) {
    $effect(() => {
      if (!running()) return;
      this.now = Date.now();
      const timer = setInterval(() => (this.now = Date.now()), everyMs);
      return () => clearInterval(timer);
    });
  }
}
