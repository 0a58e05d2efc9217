// PageCounts: how many refer to each page. Apart from the pages' memory, so that who waits to count down keeps none of it.
// Reader: someone who follows a page from take() to release(). Assumes that who takes or retains a page releases it once.

export class PageCounts {
  /** Referrers of each page. */
  readonly #references: number[] = [];
  readonly #free: number[] = [];

  /** Pages that there are, in use or free. */
  get made(): number {
    return this.#references.length;
  }

  /** Pages that somebody refers to. */
  get taken(): number {
    return this.#references.length - this.#free.length;
  }

  /** A page with one referrer. */
  take(): number {
    const page = this.#free.pop() ?? this.#references.length;
    this.#references[page] = 1;
    return page;
  }

  retain(page: number): void {
    ++this.#references[page];
  }

  release(page: number): void {
    if (--this.#references[page] === 0) this.#free.push(page);
  }

  isShared(page: number): boolean {
    return this.#references[page] > 1;
  }
}

/** The pages that a sequence refers to, in the order of their tokens. */
export interface PageHold {
  readonly counts: PageCounts;
  pages: number[];
}

/** Lets go of all of them. */
export function releaseAll(hold: PageHold): void {
  for (const page of hold.pages) hold.counts.release(page);
  hold.pages = [];
}
