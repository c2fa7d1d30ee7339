//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// ReadableByOthers reports whether more users than necessary can read a file. The group may read a
// file that belongs to another user: this is how Kubernetes hands a secret to a process that is not
// root.
func ReadableByOthers(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	if mode&0o004 != 0 {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return mode&0o040 != 0 && (!ok || int(stat.Uid) == os.Geteuid())
}
