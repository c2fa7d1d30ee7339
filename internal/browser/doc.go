// Package browser looks at kefu's pages as people do: in a real browser, at `kefu dev` and
// `kefu console` of the real binary. It consists of tests behind the build tag browser, since they
// need Chromium and axe-core:
//
//	bash .ci/browser
//
// which installs both by name and runs
//
//	go test -tags browser ./internal/browser
//
// Each page is shown in both languages, in light and dark, at 1280 and at 390 pixels. A page fails
// when the browser's console says anything, when the content security policy stops something, when
// axe-core finds what somebody could not use, or when it is wider than the window. axe-core looks at
// half of these; with -args -full at all. With -args -shots FOLDER the tests leave pictures there.
package browser
