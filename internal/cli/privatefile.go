package cli

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CanBeWritten checks a path for PrivateFile before anything is done, and says whether a file is
// there. stdout names the command that writes to stdout; "" is that as a path.
func CanBeWritten(path, stdout string) (exists bool, err error) {
	if path == "" {
		return false, nil
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return false, Usagef("%s: there is no folder %s", path, folder)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, Usagef("%s is no regular file: %s writes to stdout", path, stdout)
	}
	return true, nil
}

// PrivateFile writes a file that nobody but its owner may read, compressed when its name ends in
// .gz. It takes the place of the one that was there when it is whole. n is what write returns.
func PrivateFile(path string, write func(io.Writer) (int, error)) (n int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the first error counts
			_ = os.Remove(f.Name())
		}
	}()
	var w io.WriteCloser = unclosed{f}
	if strings.HasSuffix(strings.ToLower(path), ".gz") {
		w = gzip.NewWriter(f)
	}
	if n, err = write(w); err != nil {
		return n, err
	}
	for _, step := range []func() error{w.Close, f.Sync, f.Close} {
		if err := step(); err != nil {
			return n, err
		}
	}
	return n, os.Rename(f.Name(), path)
}

// unclosed is a file that somebody else closes.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
