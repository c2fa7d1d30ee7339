package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/kefuhq/kefu/internal/wechat"
)

// Purpose is what a command calls the API for. It decides what can be done when nobody knows
// whether the call was carried out.
type Purpose uint8

// The purposes.
const (
	Changing Purpose = iota // something there: doing it twice may matter
	Reading                 // nothing there
	Showing                 // a sign that passes by itself
)

// Explain makes an error of a call what a person needs: what it means, and what can be done, in
// their language. A change that the API would not take is one of usage.
func (a *API) Explain(doing Purpose, err error) error {
	var bad *wechat.InputError
	if errors.As(err, &bad) {
		return &ExitError{ExitUsage, err}
	}
	var e *wechat.Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return &explainedError{err, a.advice.explanation(doing, e)}
}

// explainedError adds lines for people after the error's own.
type explainedError struct {
	err   error
	lines []string
}

func (e *explainedError) Error() string {
	return strings.Join(append([]string{e.err.Error()}, e.lines...), "\n")
}

func (e *explainedError) Unwrap() error { return e.err }

// advice is what is said to a user about an error.
type advice struct {
	language string
	baseURL  string // of the API
}

// explanation returns what is said of an errcode, which is what kefu errcode --call says of it.
// Where the code did not decide what became of the call, as in an answer with HTTP 500, it explains
// nothing.
func (a advice) explanation(doing Purpose, e *wechat.Error) []string {
	var lines []string
	add := func(name, text string) { lines = append(lines, name+" "+text) }
	if row := wechat.Explain(e.Call, e.Code); e.HasCode && row.Fault == e.Fault {
		if a.language != Chinese {
			add("means   ", row.En)
			add("you can ", row.DoEn)
		}
		if a.language != English {
			add("含义", row.Zh)
			add("建议", row.DoZh)
		}
		return lines
	}
	en, zh := a.withoutCode(doing, e)
	if a.language != Chinese {
		add("you can ", en)
	}
	if a.language != English {
		add("建议", zh)
	}
	return lines
}

// withoutCode returns what can be done where no errcode tells.
func (a advice) withoutCode(doing Purpose, e *wechat.Error) (en, zh string) {
	switch {
	case e.Fault == wechat.FaultUnknown && doing == Reading:
		return "Nothing was changed: run the command again.", "没有任何改动：请重新执行命令。"
	case e.Fault == wechat.FaultUnknown && doing == Showing:
		return "Nobody knows whether the sign is shown: run the command again, it does no harm.",
			"无法确定输入状态是否已下发：可直接重新执行命令，不会有副作用。"
	case e.Fault == wechat.FaultUnknown:
		return "Look before you do it again: the request left, and nobody knows whether " +
				"it was carried out.",
			"请求已发出但没有可用的应答：请先核实是否已生效，再决定是否重试。"
	case e.Fault == wechat.FaultMinuteQuota && e.RetryAfter > 0:
		return fmt.Sprintf("Do it again in %s.", About(e.RetryAfter)),
			fmt.Sprintf("请在 %s 后重试。", About(e.RetryAfter))
	case e.Fault == wechat.FaultBusy, e.Fault == wechat.FaultMinuteQuota:
		return "Do it again in a moment.", "请稍后重试。"
	case e.Fault == wechat.FaultUpstream:
		host := a.host()
		return "Look at this machine's way to " + host +
				": DNS, routes, proxies. Nothing was changed.",
			"请检查本机到 " + host + " 的网络：DNS、路由、代理。本次没有任何改动。"
	default:
		return "Mend what it says, and do it again.", "请按上述原因修正后重试。"
	}
}

// host returns the name of the API's host, for people.
func (a advice) host() string {
	u, err := url.Parse(a.baseURL)
	if err != nil {
		return "the API"
	}
	return u.Host
}
