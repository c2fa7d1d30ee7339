package recipients

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// The compressions of a file.
const (
	gzipName = "gzip"
	zstdName = "zstd"
)

// maxWindow is how many bytes of a zstd archive's text are kept to refer back to: enough for every
// level that zstd has without --ultra and --long.
const maxWindow = 8 << 20

// beginnings are the first bytes of files that are not text. A reason is given for those that
// cannot be read.
var beginnings = []struct{ bytes, compression, reason string }{
	{"\x1f\x8b", gzipName, ""},
	{"\x28\xb5\x2f\xfd", zstdName, ""},
	{"PK\x03\x04", "", "the file is an Excel workbook or a ZIP archive: " + saveAs},
	{"\xd0\xcf\x11\xe0", "", "the file is an old Excel workbook: " + saveAs},
	{"BZh", "", "the file is compressed with bzip2: use gzip or zstd"},
	{"\xfd7zXZ", "", "the file is compressed with xz: use gzip or zstd"},
}

const saveAs = "save it as \"CSV UTF-8\""

// decompress returns the text of a file and how it was compressed.
func decompress(in *bufio.Reader) (text io.Reader, compression string, err error) {
	start, _ := in.Peek(6) // the next read returns its error again
	for _, b := range beginnings {
		if !bytes.HasPrefix(start, []byte(b.bytes)) {
			continue
		}
		if b.reason != "" {
			return nil, "", errors.New(b.reason)
		}
		compression = b.compression
	}
	switch compression {
	case gzipName:
		text, err = gzip.NewReader(in)
	case zstdName:
		// Without concurrency it starts no goroutine.
		text, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	default:
		return in, "", nil
	}
	archive := &archiveReader{in: text, name: compression}
	return archive, compression, archive.explain(err)
}

// archiveReader says what is wrong with an archive.
type archiveReader struct {
	in   io.Reader
	name string
}

func (r *archiveReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	return n, r.explain(err)
}

func (r *archiveReader) explain(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the %s archive is cut off: copy it again", r.name)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("the zstd archive needs more memory than %d MiB: "+
			"compress it without --ultra and --long", maxWindow>>20)
	default:
		return fmt.Errorf("the %s archive cannot be read: %w", r.name, err)
	}
}
