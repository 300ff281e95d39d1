/** The project's text as the tidy checks see it: files, their imports, and code without its comments and strings. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { root } from './paths.ts';

/** `path` is relative to the project, with forward slashes. */
export type Source = { path: string; text: string };
export type Import = { target: string; typeOnly: boolean };

export function readSources(folder: string, extension = '.ts'): Source[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && file.name.endsWith(extension))
    .map((file) => join(file.parentPath, file.name))
    .sort()
    .map((path) => ({ path: relative(root, path).replaceAll('\\', '/'), text: readFileSync(path, 'utf8') }));
}

/** What a file imports: project files as their path, packages and Node's modules by name. */
export function importsOf({ path, text }: Source): Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?['"]([^'"\n]+)['"]/gm);
  const calls = text.matchAll(/\bimport\(\s*['"]([^'"\n]+)['"]\s*\)(\.[A-Z])?/g);
  return [
    ...[...statements].map((match) => ({ target: resolved(path, match[2] ?? ''), typeOnly: match[1] !== undefined })),
    ...[...calls].map((match) => ({ target: resolved(path, match[1] ?? ''), typeOnly: match[2] !== undefined })),
  ];
}

function resolved(from: string, target: string): string {
  return target.startsWith('.') ? posix.join(posix.dirname(from), target) : target;
}

/**
 * The same text with comments, strings and regular expressions blanked: what is left is code, on the same lines. What
 * stands in `${}` of a template is code too.
 */
export function codeOf(text: string): string {
  let code = '';
  let at = 0;
  const templates: number[] = [];
  const blank = (end: number): void => {
    code += text.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const template = (): void => {
    const end = templateEnd(text, at);
    if (text[end - 1] === '{') templates.push(0);
    blank(end);
  };
  while (at < text.length) {
    const depth = templates.length - 1;
    const char = text[at] ?? '';
    if (text.startsWith('//', at)) blank(ends(text.indexOf('\n', at), text));
    else if (text.startsWith('/*', at)) blank(ends(text.indexOf('*/', at + 2), text, 2));
    else if (char === "'" || char === '"') blank(closing(text, at, char));
    else if (char === '/' && /(?:^|[=(,:[!&|?{};>]|\breturn)\s*$/.test(code)) blank(closing(text, at, '/'));
    else if (char === '`') {
      at++;
      code += ' ';
      template();
    } else if (char === '}' && templates[depth] === 0) {
      templates.pop();
      at++;
      code += ' ';
      template();
    } else {
      if (depth >= 0 && char === '{') templates[depth] = (templates[depth] ?? 0) + 1;
      if (depth >= 0 && char === '}') templates[depth] = (templates[depth] ?? 0) - 1;
      code += char;
      at++;
    }
  }
  return code;
}

/** Behind the closing quote, or behind the `${` that interrupts the template. */
function templateEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '`') return i + 1;
    else if (text.startsWith('${', i)) return i + 2;
  }
  return text.length;
}

function closing(text: string, from: number, quote: string): number {
  let inClass = false;
  for (let i = from + 1; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i++;
    else if (quote === '/' && text[i] === '[') inClass = true;
    else if (quote === '/' && text[i] === ']') inClass = false;
    else if (text[i] === quote && !inClass) return i + 1;
  }
  return from + 1;
}

function ends(found: number, text: string, length = 0): number {
  return found < 0 ? text.length : found + length;
}
