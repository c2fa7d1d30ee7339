//go:build !unix

package config

import "io/fs"

// readableByOthers reports nothing where the mode does not decide who may read a file.
func readableByOthers(fs.FileInfo) bool { return false }
