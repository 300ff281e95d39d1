/**
 * The little of the DOM that the view builds on: elements found by id, made from text only, and lists kept in step with data.
 * Nothing here takes markup: text from users can only ever become text.
 */

/** The element of index.html with this id; its absence is a fault of the page. */
export function byId<K extends keyof HTMLElementTagNameMap>(id: string, tag: K): HTMLElementTagNameMap[K] {
  const element = document.getElementById(id);
  if (element === null || element.localName !== tag) throw new Error(`the page has no ${tag} #${id}`);
  return element as HTMLElementTagNameMap[K];
}

export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = '', text = ''): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}

/** Sets what differs, so that what is selected or announced stays untouched. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Children of `list`, one for each item in its order; those with a known key stay the same elements. */
export function keep<T>(
  list: Element,
  items: readonly T[],
  keyOf: (item: T) => string,
  create: (item: T) => HTMLElement,
  update: (element: HTMLElement, item: T) => void,
): void {
  const known = new Map([...list.children].map((child) => [(child as HTMLElement).dataset.key ?? '', child as HTMLElement]));
  let at = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const element = known.get(key) ?? create(item);
    known.delete(key);
    element.dataset.key = key;
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  }
  for (const element of known.values()) element.remove();
}

/** First letters on a colour that is always the same for a name. */
export function paintAvatar(element: HTMLElement, name: string): void {
  let hue = 0;
  for (const character of name) hue = (hue * 31 + (character.codePointAt(0) ?? 0)) % 360;
  element.style.setProperty('--hue', String(hue));
  setText(element, [...name].slice(0, 2).join('').toUpperCase());
}
