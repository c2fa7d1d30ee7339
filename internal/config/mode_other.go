//go:build !unix

package config

import "io/fs"

// readableByOthers cannot be told from the mode where access is not decided by it.
func readableByOthers(fs.FileInfo) bool { return false }
