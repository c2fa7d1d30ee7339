package console

// Route is a route as tests see it.
type Route struct {
	Pattern string
	Anybody bool
	Acting  bool
}

// Routes returns all routes, those included that every page has.
func Routes() (all []Route) {
	for _, r := range routes {
		all = append(all, Route{r.pattern, r.needs == anybody, r.needs == acting})
	}
	return append(all, Route{Pattern: "GET /live"}, Route{Pattern: "POST /preferences", Anybody: true})
}

// Notices are the texts of the notices.
func Notices() (texts []string) {
	for _, n := range notices {
		texts = append(texts, n.Text)
	}
	for _, p := range pages {
		texts = append(texts, p.text)
	}
	return texts
}
