package deadletter

import (
	"context"
	"errors"
	"slices"

	"github.com/kefuhq/kefu/internal/broker"
)

// Page is a part of the box, by sequences in KEFU_DEAD.
type Page struct {
	After, Before uint64 // neither of which is in it; 0 is no bound
	NewestFirst   bool   // instead of the oldest
}

// ListPage is List for a part of the box, and for lists: of a letter it reads no packet, headers,
// subject, rid and HTTP status, and of the attempts only how many there were. The strings of a
// letter share memory. In either order it holds no more than pageWindow letters, but for those of
// ids that the filter names.
func (b *Box) ListPage(ctx context.Context, filter Filter, page Page, f func(Item) error) error {
	sieve := skimming(filter)
	switch {
	case page.Before == 1:
		return nil
	case page.NewestFirst:
		return b.readBackward(ctx, sieve, page, f)
	}
	var seq, through uint64
	if page.After > 0 {
		seq = page.After + 1
	}
	if page.Before > 0 {
		through = page.Before - 1
	}
	return b.read(ctx, sieve, seq, through, f)
}

// pageWindow is how many sequences are read at a time, backward. One batch of a scan.
const pageWindow = 512

func (b *Box) readBackward(
	ctx context.Context, sieve sieve, page Page, f func(Item) error,
) error {
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	sieve.quick = false // a consumer for each window would take longer
	first := max(page.After+1, info.State.FirstSeq)
	end := info.State.LastSeq + 1
	if page.Before > 0 {
		end = min(end, page.Before)
	}
	size := uint64(pageWindow)
	if len(sieve.filter.IDs) > 0 {
		size = end // they are looked up once, and are few
	}
	for end > first {
		begin := max(first, end-min(end, size))
		var window []Item
		if err := b.read(ctx, sieve, begin, end-1, func(i Item) error {
			window = append(window, i)
			return nil
		}); err != nil {
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
	}
	return nil
}
