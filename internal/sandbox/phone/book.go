package phone

import (
	"strings"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// book holds the conversations, the latest first: for each of them the numbers of the records,
// which the sandbox keeps, and what the user did.
type book struct {
	mu    sync.Mutex
	chats map[key]*chat
	ends  chat // of the list: ends.older is the latest
	last  int  // number of the last record
}

// maxEvents is how much of one conversation is kept.
const maxEvents = 100_000

// maxChats is how many conversations are kept.
const maxChats = 100_000

type key struct{ app, openID string }

// chat is one conversation.
type chat struct {
	key
	at           time.Time // of the last event
	first        int       // how many events were forgotten
	events       []event   // oldest first
	newer, older *chat
}

// event is a record, or what the user did.
type event struct {
	n   int
	act *deed
}

// deed is what a user did.
type deed struct {
	at     time.Time
	action sandbox.Action
	text   string
}

func newBook() *book {
	b := &book{}
	b.clear()
	return b
}

func (b *book) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chats, b.last = map[key]*chat{}, 0
	b.ends.newer, b.ends.older = &b.ends, &b.ends
}

// add puts an event at the end of its conversation, which becomes the latest. Records up to gone
// are forgotten.
func (b *book) add(app, openID string, e event, at time.Time, gone int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.chats[key{app, openID}]
	if c == nil {
		// Copies: parts of a body would keep the whole body in memory.
		c = &chat{key: key{strings.Clone(app), strings.Clone(openID)}}
		b.chats[c.key] = c
		if len(b.chats) > maxChats {
			b.forgetOldest()
		}
	} else {
		c.newer.older, c.older.newer = c.older, c.newer
	}
	c.newer, c.older = &b.ends, b.ends.older
	c.newer.older, c.older.newer = c, c
	c.at, b.last = at, max(b.last, e.n)
	for len(c.events) > 0 && c.events[0].act == nil && c.events[0].n <= gone {
		c.events = c.events[1:]
		c.first++
	}
	if len(c.events) >= maxEvents {
		c.events = c.events[1:]
		c.first++
	}
	c.events = append(c.events, e)
}

// forgetOldest forgets the conversation in which nothing has happened for the longest.
func (b *book) forgetOldest() {
	c := b.ends.newer
	c.newer.older, c.older.newer = c.older, c.newer
	delete(b.chats, c.key)
}

// has says whether there is a conversation.
func (b *book) has(app, openID string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chats[key{app, openID}] != nil
}

// line is a conversation in the list.
type line struct {
	key
	at     time.Time
	latest event
}

// list returns count conversations that wanted chooses, after the first skip of them, and how many
// there are of them in all.
func (b *book) list(wanted func(key) bool, skip, count int) (lines []line, total int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := b.ends.older; c != &b.ends; c = c.older {
		if wanted != nil && !wanted(c.key) {
			continue
		}
		if total >= skip && len(lines) < count {
			lines = append(lines, line{c.key, c.at, c.events[len(c.events)-1]})
		}
		if total++; wanted == nil && len(lines) == count {
			return lines, len(b.chats)
		}
	}
	return lines, total
}

// read returns the last count events of a conversation before one; 0: before the end. first is the
// number of the first that is returned, and more says whether there are older ones.
func (b *book) read(app, openID string, before, count int) (events []event, first int, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.chats[key{app, openID}]
	if c == nil {
		return nil, 0, false
	}
	end := len(c.events)
	if before > 0 {
		end = min(max(before-1-c.first, 0), end)
	}
	start := max(end-count, 0)
	return append(events, c.events[start:end]...), c.first + start + 1, start > 0
}

// newest returns the number of the last record.
func (b *book) newest() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}
