package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errDeclined is the answer no.
var errDeclined = errors.New("nothing was changed")

// Confirm asks before much is changed: "Discard 1,204 letters?". It is nil after a yes, or with
// --yes. Without a terminal nobody can answer, so it refuses and says what to add.
func (s *Streams) Confirm(ctx context.Context, question string) error {
	if s.Yes {
		return nil
	}
	if !s.CanAsk() {
		return Usagef("%s There is no terminal to ask on: add --yes if that is what you want",
			Clean(question))
	}
	s.askf("%s [y/N] ", Clean(question))
	answer, err := s.readLine(ctx)
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "是":
		return nil
	}
	return errDeclined
}

// CanAsk says whether Confirm can have an answer.
func (s *Streams) CanAsk() bool { return s.Yes || s.Terminal.In && s.Terminal.Err }

func (s *Streams) askf(format string, args ...any) {
	// A question is no note: quiet does not silence it. It ends without a line feed.
	_, _ = io.WriteString(s.Err, fmt.Sprintf(format, args...))
}

// readLine reads a line from the terminal, or ends with the context. A read from a terminal cannot
// be called off, so after an interrupt its goroutine is left to the end of the process, which is
// next.
func (s *Streams) readLine(ctx context.Context) (string, error) {
	type reply struct {
		line string
		err  error
	}
	replies := make(chan reply, 1)
	go func() {
		line, err := bufio.NewReader(s.In).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // an end without an answer is no yes
		}
		replies <- reply{line, err}
	}()
	select {
	case r := <-replies:
		return r.line, r.err
	case <-ctx.Done():
		s.Hintf("")
		return "", ctx.Err()
	}
}
