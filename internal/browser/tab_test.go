//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// look is how somebody looks at pages.
type look struct {
	language string // en or zh
	scheme   string // light or dark
	width    int64
}

func (l look) String() string { return fmt.Sprintf("%s-%s-%d", l.language, l.scheme, l.width) }

// audited says whether axe-core looks at pages in this way, too. It takes longer than all else; in
// the short form it sees each language, each scheme and each width twice.
func (l look) audited() bool {
	return *full || (l.language == "zh") == ((l.scheme == "dark") == (l.width > 700))
}

// looks are all ways.
func looks() (all []look) {
	for _, language := range []string{"en", "zh"} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				all = append(all, look{language, scheme, width})
			}
		}
	}
	return all
}

// tab is a tab of the browser.
type tab struct {
	*require.Assertions
	t    *testing.T
	ctx  context.Context
	look look

	mu   sync.Mutex
	said []string // by the browser's console
}

// newTab opens a tab of its own, with cookies of its own.
func newTab(t *testing.T, l look) *tab {
	t.Helper()
	b := &tab{Assertions: require.New(t), t: t, look: l}
	ctx, closeTab := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(),
		chromedp.WithListener(b.listen))
	t.Cleanup(closeTab)
	b.NoError(chromedp.Do(ctx)) // a deadline of the first use would end the browser
	timed, cancel := context.WithTimeout(ctx, 3*patience)
	t.Cleanup(cancel)
	b.ctx = timed
	b.run(
		command(log.Enable, cdp.Empty{}),
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.width, Height: 900, DeviceScaleFactor: 1, Mobile: l.width < 700,
		}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
		}),
		command(network.Enable, network.EnableParams{}),
		command(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{
				"Accept-Language": map[string]string{"en": "en", "zh": "zh-CN"}[l.language],
			},
		}),
	)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.Empty(b.said, "the browser's console")
	})
	return b
}

// command is a command of the DevTools protocol whose answer says nothing.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// listen takes what the browser complains of.
func (b *tab) listen(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text = "console." + string(e.Type)
			for _, arg := range e.Args {
				text += " " + string(arg.Value) + arg.Description
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = string(e.Entry.Source) + ": " + e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

// expected takes what the browser said so far and leaves out what a test brought about.
func (b *tab) expected(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var rest []string
	for _, text := range b.said {
		if !strings.Contains(text, part) {
			rest = append(rest, text)
		}
	}
	b.said = rest
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.NoError(chromedp.Do(b.ctx, actions...))
}

// open shows a page.
func (b *tab) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url), chromedp.WaitReady("main"))
}

// text returns what stands in an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(selector))
	b.NoError(err)
	return text
}

// eval returns what a script says.
func eval[T any](b *tab, script string, options ...chromedp.EvaluateOption) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, options...))
	b.NoError(err)
	return value
}

// press submits the form of a button that has a text.
func (b *tab) press(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	b.NoError(err)
	script := `(() => { const all = [...document.querySelectorAll("main button, main a.button, dialog[open] button, header button")]
		.filter(e => e.textContent.trim() === ` + string(quoted) + ` && !e.disabled);
		if (all.length === 0) return document.body.innerText;
		all[0].click(); return ""; })()`
	b.Empty(eval[string](b, script), "there is no button %s", text)
}

// until waits until the page says something.
func (b *tab) until(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	b.NoError(err)
	b.Eventually(func() bool {
		// Not Poll, which does not survive that the page is another one meanwhile.
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](
			`!!document.body && document.body.innerText.includes(`+string(quoted)+`)`))
		return err == nil && found
	}, patience, 50*time.Millisecond, "%s", text)
}

// fill types into a field that has a name.
func (b *tab) fill(name, value string) {
	b.t.Helper()
	b.run(chromedp.SetValue(`main [name="`+name+`"]`, value))
}

// finding is one of axe-core.
type finding struct {
	ID, Help string
	Nodes    []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	}
}

// check requires that the page can be used by everybody and fits into the window, and takes its
// picture.
func (b *tab) check(name string) {
	b.t.Helper()
	wide := eval[string](b, `(() => { const w = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= w + 1) return "";
		return [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > w + 1 && !e.closest(".scroll, .nav, pre"))
			.slice(0, 3).map(e => e.outerHTML.slice(0, 200)).join("\n") || "something"; })()`)
	b.Empty(wide, "%s (%s) is wider than the window", name, b.look)
	b.shoot(name)
	if !b.look.audited() {
		return
	}
	b.run(chromedp.Evaluate[chromedp.Void](axe))
	found := eval[[]finding](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v =>
		({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map(n => ({html: n.html.slice(0, 300), failureSummary: n.failureSummary}))})))`,
		chromedp.EvalAwaitPromise)
	b.Empty(found, "%s (%s)", name, b.look)
}

// shoot takes a picture of the page.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	b.NoError(err)
	b.NoError(os.MkdirAll(*shots, 0o755))
	b.NoError(os.WriteFile(filepath.Join(*shots, name+"-"+b.look.String()+".png"), png, 0o644))
}
