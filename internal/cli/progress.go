package cli

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows the progress of a long operation, on a terminal only.
type Bar struct {
	bar     *progressbar.ProgressBar
	title   string
	waiting string
	before  int // what an earlier run had done
}

// Progress makes a bar; with a unit it shows how many of them are done in a second.
func (s *Streams) Progress(total int, title, unit string) *Bar {
	if !s.Terminal.Err || s.Quiet {
		return &Bar{}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(s.Err),
		progressbar.OptionSetDescription(title),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}
	if unit != "" {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	return &Bar{title: title, bar: progressbar.NewOptions(total, options...)}
}

// Continue tells the bar what an earlier run had done: counted in, it would make this one look as
// if it were over in a moment.
func (b *Bar) Continue(done int) {
	if b.bar == nil || done == 0 || done >= b.bar.GetMax() {
		return
	}
	b.before = done
	b.title += fmt.Sprintf(", behind the %s done before", Grouped(int64(done)))
	b.bar.Describe(b.title)
	b.bar.ChangeMax(b.bar.GetMax() - done)
}

// Show tells the bar how much is done.
func (b *Bar) Show(done int, waiting string) {
	if b.bar == nil {
		return
	}
	if waiting != b.waiting {
		b.waiting = waiting
		title := b.title
		if waiting != "" {
			title += " (" + Clean(waiting) + ")"
		}
		b.bar.Describe(title)
	}
	_ = b.bar.Set(done - b.before) // a bar that cannot be drawn changes nothing
}

// End takes the bar away.
func (b *Bar) End() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
