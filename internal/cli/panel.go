package cli

import (
	"fmt"
	"io"
	"strings"
)

// Panel is some lines on the terminal of Err that are drawn anew in their place.
type Panel struct {
	streams *Streams
	drawn   int // lines
}

// Panel makes one; it shows nothing where Err is no terminal or the user wants quiet.
func (s *Streams) Panel() *Panel { return &Panel{streams: s} }

// Shows says whether anything is seen of the panel.
func (p *Panel) Shows() bool {
	return p.streams.Terminal.Err && !p.streams.Quiet && !p.streams.dumb
}

// usualWidth is that of a terminal that does not say how wide it is.
const usualWidth = 80

// Width is how many columns a line has.
func (p *Panel) Width() int {
	if w := p.streams.Terminal.Width; w > 0 {
		return w
	}
	return usualWidth
}

// Height is how many lines the terminal has; 0 when it does not say.
func (p *Panel) Height() int { return p.streams.Terminal.Height }

// Draw draws lines in place of those before. What does not fit into a line ends with … .
func (p *Panel) Draw(lines ...string) {
	if !p.Shows() {
		return
	}
	var out strings.Builder
	p.erase(&out)
	for _, line := range lines {
		// A line as wide as the terminal would make some of them begin another.
		out.WriteString(Cut(Clean(line), p.Width()-1) + "\n")
	}
	p.drawn = len(lines)
	_, _ = io.WriteString(p.streams.Err, out.String()) // what cannot be drawn changes nothing
}

// Clear takes the panel away, so that something else can be said.
func (p *Panel) Clear() {
	var out strings.Builder
	p.erase(&out)
	p.drawn = 0
	_, _ = io.WriteString(p.streams.Err, out.String())
}

func (p *Panel) erase(out *strings.Builder) {
	if p.drawn > 0 {
		fmt.Fprintf(out, "\x1b[%dA\r\x1b[J", p.drawn)
	}
}

// Gauge draws how much of a total is done into so many columns. It is full only when all is done.
func Gauge(done, total, width int) string {
	inside := max(width-2, 1)
	full := inside
	if total > 0 && done < total {
		full = min(max(done, 0)*inside/total, inside-1)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", inside-full) + "]"
}
