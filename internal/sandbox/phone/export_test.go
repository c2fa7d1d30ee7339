package phone

// Situations returns the texts of the situations.
func Situations() []string {
	var texts []string
	for _, s := range situationList {
		texts = append(texts, s.Text)
	}
	return texts
}
