/** The HTTP side of notes: lists, sharing, versions. Their text is edited through `DocumentProvider`. */

import type { Grants, Person } from '../protocol.js';
import type { Api, Paged } from '../rest.js';

export type NotePermission = 'owner' | 'write' | 'read';
export type NoteGrants = Grants;

interface NoteInfo {
  id: string;
  /** What `DocumentProvider` opens. */
  document_id: string;
  title: string;
  /** Counts the saved states of the text. */
  version: number;
  owner: Person;
  permission: NotePermission;
  /** Milliseconds since 1970 UTC. */
  created_at: number;
  updated_at: number;
}

/** One row of the list of notes. */
export interface NoteRow extends NoteInfo {
  preview: string;
}

export interface Note extends NoteInfo {
  markdown: string;
  html: string;
  text: string;
  /** Whom it is shared with, by principal (`user:{id}`, `role:{role}`, `everyone`); for the owner only. */
  grants?: NoteGrants;
}

export interface NoteChanges {
  title?: string;
  markdown?: string;
  append_markdown?: string;
  grants?: NoteGrants;
  /** Refuse the change where the text is newer. */
  expected_version?: number;
}

/** A snapshot of a note, named by a person or made by the server. */
export interface NoteVersion {
  id: string;
  name: string | null;
  automatic: boolean;
  author: Person | null;
  created_at: number;
  version: number;
  title: string;
  preview: string;
}

export interface NoteVersionText extends NoteVersion {
  markdown: string;
  html: string;
  text: string;
}

export interface NoteChange {
  op: 'equal' | 'insert' | 'delete';
  text: string;
}

interface PageQuery {
  cursor?: string;
  limit?: number;
}

export class NotesApi {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Own and shared ones, newest change first. */
  list(query: PageQuery & { search?: string } = {}): Promise<Paged<NoteRow>> {
    return this.#api.request('GET', '/api/notes', undefined, { ...query });
  }

  create(note: { title?: string; markdown?: string; grants?: NoteGrants } = {}): Promise<Note> {
    return this.#api.request('POST', '/api/notes', note);
  }

  get(id: string): Promise<Note> {
    return this.#api.request('GET', path(id));
  }

  /** Goes through the document: people who have it open see it happen. */
  change(id: string, changes: NoteChanges): Promise<Note> {
    return this.#api.request('PATCH', path(id), changes);
  }

  async remove(id: string): Promise<void> {
    await this.#api.request('DELETE', path(id));
  }

  /** Let the readers of a note read a file of the caller's. */
  async attach(id: string, fileId: string): Promise<void> {
    await this.#api.request('POST', `${path(id)}/files`, { file_id: fileId });
  }

  /** Newest first. */
  versions(id: string, query: PageQuery = {}): Promise<Paged<NoteVersion>> {
    return this.#api.request('GET', `${path(id)}/versions`, undefined, { ...query });
  }

  keepVersion(id: string, name?: string): Promise<NoteVersion> {
    return this.#api.request('POST', `${path(id)}/versions`, name ? { name } : {});
  }

  version(id: string, versionId: string): Promise<NoteVersionText> {
    return this.#api.request('GET', path(id, versionId));
  }

  /** What changed since a version, up to another one or to the present text. */
  async compare(id: string, versionId: string, other?: string): Promise<NoteChange[]> {
    const answer = await this.#api.request<{ changes: NoteChange[] }>(
      'GET',
      `${path(id, versionId)}/compare`,
      undefined,
      { with: other },
    );
    return answer.changes;
  }

  /** A new edit that brings the version's text back; everybody sees it happen. */
  restore(id: string, versionId: string): Promise<Note> {
    return this.#api.request('POST', `${path(id, versionId)}/restore`, {});
  }

  async removeVersion(id: string, versionId: string): Promise<void> {
    await this.#api.request('DELETE', path(id, versionId));
  }
}

function path(id: string, versionId?: string): string {
  const note = `/api/notes/${encodeURIComponent(id)}`;
  return versionId === undefined ? note : `${note}/versions/${encodeURIComponent(versionId)}`;
}
