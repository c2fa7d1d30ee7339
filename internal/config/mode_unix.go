//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// readableByOthers tells whether more people than necessary can read a file of ours. A file that
// belongs to somebody else has to let our group in, which is how Kubernetes hands a secret to a
// process that is not root; a file of our own does not.
func readableByOthers(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	if mode&0o004 != 0 {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return mode&0o040 != 0 && (!ok || int(stat.Uid) == os.Geteuid())
}
