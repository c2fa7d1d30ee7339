//go:build browser

package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var (
	full   = flag.Bool("full", false, "have axe-core look at every page in every way")
	shots  = flag.String("shots", "", "folder for pictures of the pages")
	binary string // kefu
	axe    string // the script of axe-core
	chrome context.Context
)

// patience is how long a test waits for what must happen: never reached but by a test that fails.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser tests:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "kefu-browser-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "kefu")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/kefu").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	script, err := os.ReadFile(os.Getenv("AXE_CORE"))
	if err != nil {
		return 1, fmt.Errorf("AXE_CORE must name axe.min.js of axe-core: run .ci/browser (%w)", err)
	}
	axe = string(script)
	path, err := findBrowser()
	if err != nil {
		return 1, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.Flag("no-sandbox", os.Getuid() == 0), // root may not use the sandbox
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"))
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	var end context.CancelFunc
	chrome, end = chromedp.NewContext(allocated)
	defer end()
	if err := chromedp.Do(chrome); err != nil {
		return 1, fmt.Errorf("start %s: %w", path, err)
	}
	return m.Run(), nil
}

func findBrowser() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-headless-shell",
		"google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no Chromium: run .ci/browser, or name one in CHROMIUM")
}
