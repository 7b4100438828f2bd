/** For `{@attach}`: the arrow keys lead through the links of a list, Home and End to its ends. Everything stays
 * reachable with Tab as well. */
export function arrows(list: HTMLElement): () => void {
  const press = (event: KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const links = [...list.querySelectorAll<HTMLElement>('a[href]')].filter(isShown);
    const here = links.indexOf(event.target as HTMLElement);
    if (here < 0) return;
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: links.length - 1 }[
      event.key
    ];
    if (there === undefined) return;
    event.preventDefault();
    links[there]?.focus();
  };
  list.addEventListener('keydown', press);
  return () => list.removeEventListener('keydown', press);
}

function isShown(element: HTMLElement): boolean {
  return element.checkVisibility?.() ?? true;
}
