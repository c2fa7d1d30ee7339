package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/schema"
)

// standardInput is the FILE that stands for it.
const standardInput = "-"

// source is the file of recipients while it is read.
type source struct {
	*recipients.Reader
	label string // what people call the file

	bar   *cli.Bar
	read  atomic.Int64 // bytes
	sized bool         // the bar counts bytes
	rows  int
	close func()
}

// open opens the file of recipients. What is no file on a disk may have nothing to read for a
// while: it is given up with ctx.
func (s *start) open(ctx context.Context, limits schema.Limits) (*source, error) {
	o := recipients.Options{
		Limits: limits, Format: recipients.Format(s.format), Encoding: s.encoding,
	}
	var err error
	if o.Template, err = s.packet(); err != nil {
		return nil, err
	}
	src := &source{label: "standard input", close: func() {}}
	var in io.Reader
	total, whole := int64(-1), s.streams.In
	if s.file == standardInput {
		if s.streams.Terminal.In {
			s.streams.Notef("reading the recipients from the terminal; Ctrl-D ends them")
		}
	} else {
		f, err := os.Open(s.file)
		if err != nil {
			return nil, cli.Usagef("FILE: %w", err)
		}
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = errors.New("it is a folder")
		}
		if err == nil {
			err = s.checkRejects(info)
		}
		if err != nil {
			return nil, cli.Usagef("%s: %w", s.file, errors.Join(err, f.Close()))
		}
		o.Name, src.label, whole = s.file, s.file, f
		src.close = func() { _ = f.Close() } // it is only read
		if info.Mode().IsRegular() {
			total, in = info.Size(), f
		}
	}
	if in == nil {
		pipe := interruptible(ctx, whole)
		in, src.close = pipe, func() { _ = pipe.Close() } // it always can be
	}
	src.begin(s.streams, total)
	src.Reader, err = recipients.Open(&counted{in, &src.read}, o)
	if err == nil {
		return src, nil
	}
	src.Close()
	err = fmt.Errorf("%s: %w", src.label, err)
	if errors.Is(err, recipients.ErrNoTemplate) {
		return nil, cli.Usagef("%w: give --template", err)
	}
	return nil, err
}

// begin shows how much of the file is read, of which the size may be known.
func (s *source) begin(streams *cli.Streams, size int64) {
	title := "reading " + filepath.Base(s.label)
	if s.sized = size > 0; s.sized {
		s.bar = streams.ProgressOfBytes(size, title)
	} else {
		s.bar = streams.Progress(-1, title, "rows")
	}
}

// Next returns the next row.
func (s *source) Next() (recipients.Row, error) {
	const showEvery = 256
	row, err := s.Reader.Next()
	if s.rows++; s.rows%showEvery == 0 {
		if s.sized {
			s.bar.Show(int(s.read.Load()), "")
		} else {
			s.bar.Show(s.rows, "")
		}
	}
	return row, err
}

// Close ends the reading.
func (s *source) Close() {
	s.bar.End()
	s.close()
	if s.Reader != nil {
		s.Reader.Close()
	}
}

// counted counts what is read.
type counted struct {
	in io.Reader
	n  *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// interruptible reads in until ctx ends. A read that waits cannot be called off: its goroutine is
// left to the end of the process.
func interruptible(ctx context.Context, in io.Reader) io.ReadCloser {
	out, into := io.Pipe()
	go func() {
		_, err := io.Copy(into, in)
		_ = into.CloseWithError(err)
	}()
	stop := context.AfterFunc(ctx, func() { _ = into.CloseWithError(context.Cause(ctx)) })
	return &pipe{out, stop}
}

type pipe struct {
	*io.PipeReader
	stop func() bool
}

func (p *pipe) Close() error {
	p.stop()
	return p.PipeReader.Close()
}

// packet reads the template; nil when the rows of the file are packets.
func (s *start) packet() (*recipients.Template, error) {
	if s.template == "" {
		return nil, nil //nolint:nilnil // as the reader takes it
	}
	f, err := os.Open(s.template)
	if err != nil {
		return nil, cli.Usagef("--template: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	raw, err := io.ReadAll(io.LimitReader(f, 4*schema.MaxPacket))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.template, err)
	}
	t, err := recipients.ParseTemplate(raw)
	if err != nil {
		return nil, cli.Usagef("%s: %w", s.template, err)
	}
	return t, nil
}

// checkRejects refuses to write the bad rows over the file that is read.
func (s *start) checkRejects(file os.FileInfo) error {
	rejects, err := os.Stat(s.rejects)
	if err == nil && os.SameFile(file, rejects) {
		return errors.New("bad rows would be written over this file: name another with --rejects")
	}
	return nil
}
