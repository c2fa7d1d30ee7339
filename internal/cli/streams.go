package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are where a command reads and writes, and how.
type Streams struct {
	In  io.Reader
	Out io.Writer // results only, so that they can be piped
	Err io.Writer // everything else: notes, questions, logs, errors

	Terminal Terminal
	Yes      bool // --yes: whatever is asked is agreed to
	Quiet    bool // --quiet: results and errors only

	format  format
	noColor bool // --no-color
	plain   bool // the environment wants no colours
	dumb    bool // the terminal cannot move its cursor
}

// Terminal is what is known about the other end of the streams.
type Terminal struct {
	In, Out, Err bool // it is a terminal
	Width        int  // of Out, in columns; 0 when it is no terminal
	Height       int  // of Out, in lines; 0 when it is no terminal
}

func newStreams(p Process) *Streams {
	s := &Streams{In: p.In, Out: p.Out, Err: p.Err, format: formatTable}
	if p.Terminal != nil {
		s.Terminal = *p.Terminal
	} else {
		s.Terminal.In, _, _ = isTerminal(p.In)
		s.Terminal.Err, _, _ = isTerminal(p.Err)
		s.Terminal.Out, s.Terminal.Width, s.Terminal.Height = isTerminal(p.Out)
	}
	s.dumb = getenv(p.Environ, "TERM") == "dumb"
	s.plain = getenv(p.Environ, "NO_COLOR") != "" || s.dumb
	return s
}

// isTerminal tells whether a stream is one, and how large.
func isTerminal(stream any) (yes bool, width, height int) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return true, 0, 0
	}
	return true, width, height
}

// Aside returns streams whose results are tables on Err: what a person should know before a
// question, which is no result.
func (s *Streams) Aside() *Streams {
	aside := *s
	aside.Out, aside.Terminal.Out, aside.format = s.Err, s.Terminal.Err, formatTable
	return &aside
}

// Printf prints a result of free form.
func (s *Streams) Printf(format string, args ...any) error {
	_, err := fmt.Fprintf(s.Out, format, args...)
	return err
}

// Notef tells the user something besides the result, unless they want quiet.
func (s *Streams) Notef(format string, args ...any) {
	if !s.Quiet {
		s.Hintf(format, args...)
	}
}

// Hintf tells the user something on the error stream.
func (s *Streams) Hintf(format string, args ...any) {
	_, _ = fmt.Fprintln(s.Err, fmt.Sprintf(format, args...)) // nowhere to report that to
}

// Warn tells the user about something that works but is probably not meant so.
func (s *Streams) Warn(text string) {
	if !s.Quiet {
		s.say(Yellow, "warning", text)
	}
}

// complain reports an error, which may have several lines and quote anything.
func (s *Streams) complain(text string) { s.say(Red, "kefu", text) }

func (s *Streams) say(style Style, who, text string) {
	who = paint(s.colours(s.Terminal.Err), style, who)
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintf(s.Err, "%s: %s\n", who, Clean(strings.TrimRight(line, "\n")))
	}
}

// colours tells whether a stream that is a terminal or not gets colours.
func (s *Streams) colours(isTerminal bool) bool { return isTerminal && !s.noColor && !s.plain }
