package httpapi

import "net/http"

// serveArtifact is GET /v1/jobs/{id}/artifacts/{name}: a link that works
// without the key for a while.
func (a *api) serveArtifact(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	artifact, err := a.Methods.Artifact(ctx, r.PathValue("id"), r.PathValue("name"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	link, err := a.Methods.ArtifactURL(ctx, artifact)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Location", link)
	w.Header().Set("Referrer-Policy", "no-referrer")
	a.respond(w, r, http.StatusFound, "", nil)
}
