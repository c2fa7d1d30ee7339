package console

import "net/http"

// right is what a request needs.
type right int

const (
	// anybody may ask: for the page to sign in, and what it consists of.
	anybody right = iota
	// reading is for who has signed in, or everybody when no token is configured.
	reading
	// acting is for who has signed in: without a token nobody may.
	acting
)

// route is a page, or something that a page does.
type route struct {
	pattern string // as http.ServeMux takes it, with its method
	needs   right
	handle  func(*Console, *request) (answer, error)
}

// routes are all that the console answers but stylesheets and the stream of changes. What changes
// something is asked for by POST: the guard lets only this site do so.
var routes = []route{
	{"GET /login", anybody, (*Console).loginPage},
	{"POST /login", anybody, (*Console).login},
	{"POST /logout", reading, (*Console).logout},
	{"GET /{$}", reading, (*Console).overview},
	{"GET /app/{app}", reading, (*Console).app},
	{"POST /app/{app}/hold", acting, (*Console).hold},
	{"POST /app/{app}/resume", acting, (*Console).resume},
	{"POST /app/{app}/probe", acting, (*Console).probe},
	{"GET /dead", reading, (*Console).dead},
	{"POST /dead/acknowledge", acting, (*Console).acknowledge},
	{"POST /dead/discard", acting, (*Console).discard},
	{"GET /dead/letter/{id}", reading, (*Console).letter},
	{"POST /dead/letter/{id}", acting, (*Console).reveal},
	{"GET /dead/replay", reading, (*Console).planReplay},
	{"POST /dead/replay", acting, (*Console).orderReplay},
	{"GET /jobs", reading, (*Console).jobs},
	{"GET /jobs/{job}", reading, (*Console).job},
	{"POST /jobs/{job}/pause", acting, (*Console).pauseJob},
	{"POST /jobs/{job}/resume", acting, (*Console).resumeJob},
	{"POST /jobs/{job}/abort", acting, (*Console).abortJob},
	{"GET /campaigns", reading, (*Console).campaigns},
	{"GET /campaigns/{app}/{campaign}", reading, (*Console).campaign},
	{"POST /campaigns/{app}/{campaign}/pause", acting, (*Console).pauseCampaign},
	{"POST /campaigns/{app}/{campaign}/resume", acting, (*Console).resumeCampaign},
	{"POST /campaigns/{app}/{campaign}/cancel", acting, (*Console).cancelCampaign},
	{"GET /workers", reading, (*Console).workers},
	{"GET /audit", reading, (*Console).audit},
	{"GET /find", reading, (*Console).findPage},
	{"POST /find/withdraw", acting, (*Console).withdraw},
	{"GET /tail", reading, (*Console).tailPage},
	{"GET /errcodes", reading, (*Console).errcodes},
}

// pages are those of the navigation, with the key that leads there after "g".
var pages = []struct{ text, path, key string }{
	{"Overview", "/", "o"},
	{"Dead letters", "/dead", "d"},
	{"Replays", "/jobs", "r"},
	{"Campaigns", "/campaigns", "c"},
	{"Find", "/find", "f"},
	{"Tail", "/tail", "t"},
	{"Workers", "/workers", "w"},
	{"Audit", "/audit", "u"},
	{"Errcodes", "/errcodes", "e"},
}

// newHandler puts the routes together.
func (c *Console) newHandler() (http.Handler, error) {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, c.serve(r))
	}
	mux.Handle("GET /assets/", c.site.Assets())
	mux.Handle("POST /preferences", c.withSession(anybody, preferences))
	mux.Handle("GET /live", c.withSession(reading, c.hub.ServeHTTP))
	mux.Handle("/", c.serve(route{"/", reading, notFound}))
	return c.guard().Wrap(mux)
}
