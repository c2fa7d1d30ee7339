package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows the progress of a long operation, on a terminal only.
type Bar struct {
	bar     *progressbar.ProgressBar
	title   string
	waiting string
}

// Progress makes a bar; with a unit it shows how many of them are done in a second. A total below 0
// is not known.
func (s *Streams) Progress(total int, title, unit string) *Bar {
	var options []progressbar.Option
	if unit != "" {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	return s.bar(total, title, options...)
}

// ProgressOfBytes makes a bar that counts bytes.
func (s *Streams) ProgressOfBytes(total int64, title string) *Bar {
	return s.bar(int(total), title, progressbar.OptionShowBytes(true))
}

func (s *Streams) bar(total int, title string, more ...progressbar.Option) *Bar {
	if !s.Terminal.Err || s.Quiet {
		return &Bar{}
	}
	options := append([]progressbar.Option{
		progressbar.OptionSetWriter(s.Err),
		progressbar.OptionSetDescription(title),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}, more...)
	return &Bar{title: title, bar: progressbar.NewOptions(total, options...)}
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
	_ = b.bar.Set(done) // a bar that cannot be drawn changes nothing
}

// End takes the bar away.
func (b *Bar) End() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
