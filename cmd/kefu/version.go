package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3". Other builds say what the Go tool knows about them.
var version string

// buildInfo is what there is to know about this binary.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`     // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func newVersionCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of kefu",
		GroupID: groupTool,
		Example: `  kefu version
  kefu version -o json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			info := readBuildInfo()
			if c.format != formatTable {
				return c.value(info)
			}
			return c.printf("%s\n", info)
		},
	}
}

func readBuildInfo() buildInfo {
	info := buildInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
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

// String is "kefu 1.2.3 (3f2a91c0d1e2, 2026-11-24T09:00:00Z) go1.26.8 linux/amd64".
func (b buildInfo) String() string {
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
