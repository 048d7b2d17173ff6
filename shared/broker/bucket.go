package broker

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"weboffice-functions/shared/policy"
)

const (
	// remembered bounds each memory of one instance, in entries.
	remembered = 10_000
	// openDocuments bounds the memory of calls for open documents.
	openDocuments = 5 * remembered
	// crowds is how many buckets those share who come while a memory is full.
	crowds = 1024
	// sweepEvery is how often a full memory is searched for what may be forgotten.
	sweepEvery = time.Second
)

// limit is a number of events at once, and the time after which there is room for one more.
type limit struct {
	size  int
	every time.Duration
}

func limitOf(r policy.Rate) limit { return limit{r.Events, r.Per / time.Duration(r.Events)} }

// span is how long an empty bucket takes to fill.
func (l limit) span() time.Duration { return l.every * time.Duration(l.size) }

// times gives a limit of so many times the size, refilled at so many times the rate.
func (l limit) times(size, rate int) limit {
	return limit{l.size * size, l.every / time.Duration(rate)}
}

// share gives a part of a limit, at least one event.
func (l limit) share(part, of int) limit {
	size := max(l.size*part/of, 1)
	return limit{size, l.span() / time.Duration(size)}
}

// id is what somebody or something is known by in a memory.
type id [sha256.Size]byte

func idOf(text string) id { return sha256.Sum256([]byte(text)) }

// buckets is the memory of one kind of events: for each id the time at which its bucket will be
// full again. A bucket that is full says nothing, and only such a one is forgotten: however many
// strangers come, an exhausted bucket stays exhausted. Whoever comes while none can be forgotten
// shares a bucket with others that do.
type buckets struct {
	fullAt map[id]time.Time
	swept  time.Time
}

// own returns the id whose bucket is to be used.
func (b *buckets) own(who id, now time.Time) id {
	if b.fullAt == nil {
		b.fullAt = map[id]time.Time{}
	}
	if _, known := b.fullAt[who]; known || len(b.fullAt) < remembered {
		return who
	}
	sweep(b.fullAt, &b.swept, now, func(fullAt time.Time) bool { return !fullAt.After(now) })
	if len(b.fullAt) < remembered {
		return who
	}
	crowd := (int(who[0])<<8 | int(who[1])) % crowds
	return id{0: byte(crowd >> 8), 1: byte(crowd), 31: 'c'}
}

// sweep forgets what is over, unless it did so a moment ago.
func sweep[V any](memory map[id]V, swept *time.Time, now time.Time, over func(V) bool) {
	if now.Sub(*swept) >= sweepEvery || now.Before(*swept) {
		*swept = now
		maps.DeleteFunc(memory, func(_ id, value V) bool { return over(value) })
	}
}

// draw is one event that a bucket must have room for.
type draw struct {
	from  *buckets
	who   id
	limit limit
	name  string // of the limit, for the log
}

// wait is how long it takes until there is room, 0 when there is.
func (d *draw) wait(now time.Time) time.Duration {
	d.who = d.from.own(d.who, now)
	return max(d.filled(now).Sub(now)-d.limit.span(), 0)
}

// filled is when the bucket will be full again with one event more. Where the clock was put back,
// the bucket counts as empty from now on, so that nobody is kept out until the clock has caught up.
func (d *draw) filled(now time.Time) time.Time {
	fullAt := d.from.fullAt[d.who]
	if empty := now.Add(d.limit.span()); fullAt.After(empty) {
		fullAt = empty
		d.from.fullAt[d.who] = empty
	}
	if fullAt.Before(now) {
		fullAt = now
	}
	return fullAt.Add(d.limit.every)
}

func (d *draw) take(now time.Time) { d.from.fullAt[d.who] = d.filled(now) }

func (d *draw) giveBack() {
	if fullAt, known := d.from.fullAt[d.who]; known {
		d.from.fullAt[d.who] = fullAt.Add(-d.limit.every)
	}
}

// windows remembers the last calls of each open document, for spans of an access token's life.
// Only what no span reaches any more is forgotten. While none can be, those that come new are not
// counted here: a document that is open must not be lost to a memory that strangers filled, and its
// visitor's bucket holds all the same.
type windows struct {
	calls map[id]window
	swept time.Time
}

// window is the last calls of one document, the oldest first.
type window struct {
	at   [callsPerLife]time.Time
	life time.Duration
}

// wait is how long it takes until one more call fits into the span before it, 0 when it does.
func (w *windows) wait(document id, life time.Duration, now time.Time) time.Duration {
	oldest := w.calls[document].at[0]
	if oldest.IsZero() {
		return 0
	}
	return min(max(oldest.Add(life).Sub(now)+1, 0), life)
}

func (w *windows) take(document id, life time.Duration, now time.Time) {
	if w.calls == nil {
		w.calls = map[id]window{}
	}
	known, there := w.calls[document]
	if !there && len(w.calls) >= openDocuments {
		sweep(w.calls, &w.swept, now, func(known window) bool {
			return known.at[callsPerLife-1].Add(known.life).Before(now)
		})
		if len(w.calls) >= openDocuments {
			return
		}
	}
	copy(known.at[:], known.at[1:])
	known.at[callsPerLife-1], known.life = now, max(life, known.life)
	w.calls[document] = known
}

func (w *windows) giveBack(document id, at time.Time) {
	known := w.calls[document]
	if i := slices.IndexFunc(known.at[:], at.Equal); i >= 0 {
		copy(known.at[1:], known.at[:i])
		known.at[0] = time.Time{}
		w.calls[document] = known
	}
}
