/** The files of a workspace as a tree. */

import type { Timeline } from '@parlour/sdk';

export interface TreeFile {
  path: string;
  /** Bytes; null where it is not known. */
  size: number | null;
  folder?: boolean;
}

export interface TreeNode {
  name: string;
  path: string;
  folder: boolean;
  size: number | null;
  children: TreeNode[];
}

/** Folders first, then by name. */
export function toTree(files: readonly TreeFile[]): TreeNode[] {
  const root = folderOf('', '');
  for (const { path, size, folder = false } of files) {
    const parts = path.split('/').filter(Boolean);
    const name = parts.pop();
    if (name === undefined) continue;
    const parent = parts.reduce(inside, root);
    if (folder) inside(parent, name);
    else parent.children.push({ name, path, folder: false, size, children: [] });
  }
  sort(root);
  return root.children;
}

function inside(parent: TreeNode, name: string): TreeNode {
  const known = parent.children.find((one) => one.folder && one.name === name);
  if (known) return known;
  const made = folderOf(name, parent.path ? `${parent.path}/${name}` : name);
  parent.children.push(made);
  return made;
}

function folderOf(name: string, path: string): TreeNode {
  return { name, path, folder: true, size: null, children: [] };
}

function sort({ children }: TreeNode): void {
  children.sort((a, b) => Number(b.folder) - Number(a.folder) || a.name.localeCompare(b.name));
  children.forEach(sort);
}

/** Paths of the files that the agent wrote. */
export function writtenIn({ items }: Timeline): ReadonlySet<string> {
  const paths = items.flatMap((item) => {
    if (item.kind !== 'step' || item.status !== 'done') return [];
    const { name, args } = item.action;
    return name === 'write' || name === 'edit' ? [args.path] : [];
  });
  return new Set(paths);
}
