package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar shows how far a long deed has come, on a terminal only.
type bar struct {
	bar     *progressbar.ProgressBar
	title   string
	waiting string
	before  int // what an earlier run had done
}

// progress makes a bar; with a unit it shows how many of them are done in a second.
func (c *cli) progress(total int, title, unit string) *bar {
	if !c.tty.err || c.quiet {
		return &bar{}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(c.err),
		progressbar.OptionSetDescription(title),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}
	if unit != "" {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	return &bar{title: title, bar: progressbar.NewOptions(total, options...)}
}

// goOn says what an earlier run had done: counted in, it would make this one look as if it were over in a moment.
func (b *bar) goOn(done int) {
	if b.bar == nil || done == 0 || done >= b.bar.GetMax() {
		return
	}
	b.before = done
	b.title += fmt.Sprintf(", behind the %s done before", grouped(int64(done)))
	b.bar.Describe(b.title)
	b.bar.ChangeMax(b.bar.GetMax() - done)
}

// show says how much is done.
func (b *bar) show(done int, waiting string) {
	if b.bar == nil {
		return
	}
	if waiting != b.waiting {
		b.waiting = waiting
		title := b.title
		if waiting != "" {
			title += " (" + clean(waiting) + ")"
		}
		b.bar.Describe(title)
	}
	_ = b.bar.Set(done - b.before) // a bar that cannot be drawn changes nothing
}

func (b *bar) end() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
