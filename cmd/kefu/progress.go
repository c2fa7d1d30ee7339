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
	begun   bool
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

// show says how much is done. What is done at the first call is an earlier run's: counted in, it would make this one look as if it
// were over in a moment.
func (b *bar) show(done int, waiting string) {
	if b.bar == nil {
		return
	}
	describe := waiting != b.waiting
	if !b.begun {
		b.begun = true
		if left := b.bar.GetMax() - done; done > 0 && left > 0 {
			b.before, describe = done, true
			b.title += fmt.Sprintf(", behind the %s done before", grouped(int64(done)))
			b.bar.ChangeMax(left)
		}
	}
	if describe {
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
