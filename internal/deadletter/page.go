package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Page is a part of the box, by sequences in KEFU_DEAD.
type Page struct {
	After, Before uint64 // neither of which is in it; 0 is no bound
	NewestFirst   bool   // instead of the oldest
	Most          int    // letters at most, the first of them; 0 for all

	// Within is how long it looks for letters, the newest first; 0 is no bound. When it has looked
	// so long, the error is a [CutError].
	Within time.Duration
}

// CutError says that a page was given up before it was full: few letters are chosen.
type CutError struct{ Before uint64 } // where the next page begins

func (e *CutError) Error() string {
	return fmt.Sprintf("the letters before sequence %d were not looked at: it takes too long", e.Before)
}

// ListPage is List for a part of the box, and for lists: of a letter it reads no packet, headers,
// subject, rid and HTTP status, and of the attempts only how many there were. The strings of a
// letter share memory. It reads no further than Most makes it. In either order it holds no more
// than Most or pageWindow letters, but for those of ids that the filter names.
func (b *Box) ListPage(ctx context.Context, filter Filter, page Page, f func(Item) error) error {
	given := 0
	g := func(i Item) error {
		if err := f(i); err != nil {
			return err
		}
		if given++; given == page.Most {
			return broker.ErrStopScan
		}
		return nil
	}
	sieve := skimming(filter)
	switch {
	case page.Before == 1:
		return nil
	case page.NewestFirst:
		return b.readBackward(ctx, sieve, page, g)
	}
	var seq, through uint64
	if page.After > 0 {
		seq = page.After + 1
	}
	if page.Before > 0 {
		through = page.Before - 1
	}
	return b.read(ctx, sieve, seq, through, g)
}

// Backward the box is read in windows of so many sequences. The first is one batch of a scan. They
// grow while they have too few of the letters that are wanted, and from quickWindow on a consumer
// for each is worth its while.
const (
	pageWindow    = 512
	quickWindow   = 4096
	largestWindow = 1 << 16
)

func (b *Box) readBackward(
	ctx context.Context, sieve sieve, page Page, f func(Item) error,
) error {
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	first := max(page.After+1, info.State.FirstSeq)
	end := info.State.LastSeq + 1
	if page.Before > 0 {
		end = min(end, page.Before)
	}
	size := uint64(pageWindow)
	if len(sieve.filter.IDs) > 0 {
		size = end // they are looked up once, and are few
	}
	began := time.Now()
	for end > first {
		begin := max(first, end-min(end, size))
		sieve.quick = size >= quickWindow
		window, err := b.window(ctx, sieve, begin, end-1, page.Most)
		if err != nil {
			return err
		}
		for _, item := range slices.Backward(window) {
			if err := f(item); errors.Is(err, broker.ErrStopScan) {
				return nil
			} else if err != nil {
				return err
			}
		}
		end = begin
		if end > first && page.Within > 0 && time.Since(began) > page.Within {
			return &CutError{Before: end}
		}
		if page.Most > 0 {
			size = min(2*size, largestWindow)
		}
	}
	return nil
}

// window returns the letters of some sequences, the newest of them when there are more than most;
// 0 is for all.
func (b *Box) window(
	ctx context.Context, sieve sieve, seq, through uint64, most int,
) (window []Item, err error) {
	err = b.read(ctx, sieve, seq, through, func(i Item) error {
		if window = append(window, i); most > 0 && len(window) > most {
			window = window[1:]
		}
		return nil
	})
	return window, err
}

// Count says how many letters a filter chooses; false when all would have to be read for that.
func (b *Box) Count(ctx context.Context, filter Filter) (n uint64, known bool, err error) {
	others := filter
	others.AppID = ""
	if len(filter.Reasons) == 1 {
		others.Reasons = nil
	}
	if !others.IsZero() || filter.AppID != "" && schema.CheckToken("appid", filter.AppID) != nil {
		return 0, false, nil
	}
	n, err = b.conn.Count(ctx, schema.StreamDead, filter.Subject())
	return n, err == nil, err
}
