//go:build !unix

package config

import "io/fs"

// ReadableByOthers reports nothing where the mode does not decide who may read a file.
func ReadableByOthers(fs.FileInfo) bool { return false }
