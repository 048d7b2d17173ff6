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
	// crowds is how many buckets those share who come while a memory is full.
	crowds = 1024
	// sweepEvery is how often a full memory is searched for what may be forgotten, in nanoseconds.
	sweepEvery = int64(time.Second)
)

// id is what somebody or something is known by in a memory.
type id [sha256.Size]byte

func idOf(text string) id { return sha256.Sum256([]byte(text)) }

// buckets counts one kind of events: for each id it keeps the times, in Unix nanoseconds, at which
// its buckets will be full again. Full ones say nothing, and only such are forgotten: however many
// strangers come, an exhausted bucket stays exhausted.
type buckets struct {
	name   string      // for the log
	rate   policy.Rate // so many events at once, and in each Per
	each   int         // buckets of an id: an event needs room in any one of them
	most   int         // ids
	crowds int         // so many ids are shared while there are most; 0: newcomers are not counted
	fullAt map[id][callsPerLife]int64
	swept  int64
}

func newBuckets(name string, rate policy.Rate) *buckets {
	return &buckets{name: name, rate: rate, each: 1, most: remembered, crowds: crowds,
		fullAt: map[id][callsPerLife]int64{}}
}

// draw gives an event of this id that came now. It counts for a shared id where all are taken.
func (b *buckets) draw(who id, now time.Time) draw {
	d := draw{from: b, who: who, now: now.UnixNano(), rate: b.rate}
	_, known := b.fullAt[who]
	if !known && len(b.fullAt) >= b.most && (d.now-b.swept >= sweepEvery || d.now < b.swept) {
		b.swept = d.now
		maps.DeleteFunc(b.fullAt, func(_ id, at [callsPerLife]int64) bool {
			return slices.Max(at[:]) <= d.now
		})
	}
	if !known && len(b.fullAt) >= b.most && b.crowds > 0 {
		crowd := (int(who[0])<<8 | int(who[1])) % b.crowds
		d.who = id{0: byte(crowd >> 8), 1: byte(crowd), 31: 'c'}
	}
	return d
}

// draw is one event that a bucket must have room for.
type draw struct {
	from *buckets
	who  id
	now  int64
	rate policy.Rate
	of   int // which of the id's buckets
}

// every is the time after which there is room for one event more.
func (d *draw) every() int64 { return int64(d.rate.Per) / int64(d.rate.Events) }

// filled is when the fullest bucket will be full again with one event more. Where the clock was put
// back it counts as empty from now on, so that nobody is kept out until the clock has caught up.
func (d *draw) filled() int64 {
	all := d.from.fullAt[d.who]
	fullest := slices.Min(all[:d.from.each])
	d.of = slices.Index(all[:], fullest)
	if empty := d.now + d.every()*int64(d.rate.Events); fullest > empty {
		fullest = empty
		d.set(empty)
	}
	return max(fullest, d.now) + d.every()
}

func (d *draw) set(fullAt int64) {
	all, known := d.from.fullAt[d.who]
	if known || len(d.from.fullAt) < d.from.most+d.from.crowds {
		all[d.of] = fullAt
		d.from.fullAt[d.who] = all
	}
}

// draws are events that count together.
type draws []draw

// room is an error where one of the buckets has none.
func (all draws) room() error {
	for i := range all {
		d := &all[i]
		if wait := d.filled() - d.now - d.every()*int64(d.rate.Events); wait > 0 {
			return throttled(d.from.name, time.Duration(wait))
		}
	}
	return nil
}

// count counts the events in all of the buckets, or in none where one has no room.
func (all draws) count() error {
	err := all.room()
	if err == nil {
		all.take()
	}
	return err
}

func (all draws) take() {
	for i := range all {
		all[i].set(all[i].filled())
	}
}

func (all draws) giveBack() {
	for _, d := range all {
		d.set(d.from.fullAt[d.who][d.of] - d.every())
	}
}
