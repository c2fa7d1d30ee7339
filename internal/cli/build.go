package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Build is what there is to know about this binary.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`     // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// readBuild returns what is known of this binary; version is that of a release.
func readBuild(version string) Build {
	info := Build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "devel"
	}
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			info.Commit = setting.Value
		case "vcs.time":
			info.Date = setting.Value
		case "vcs.modified":
			info.Modified = setting.Value == "true"
		}
	}
	return info
}

// String returns "kefu 1.2.3 (3f2a91c0d1e2, 2026-11-24T09:00:00Z) go1.26.8 linux/amd64".
func (b Build) String() string {
	from := ""
	if b.Commit != "" {
		from = b.Commit[:min(12, len(b.Commit))]
		if b.Modified {
			from += " with changes"
		}
		if b.Date != "" {
			from += ", " + b.Date
		}
		from = " (" + from + ")"
	}
	return fmt.Sprintf("kefu %s%s %s %s/%s", b.Version, from, b.Go, b.OS, b.Arch)
}
