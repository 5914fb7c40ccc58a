package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// serveArtifact is GET /v1/jobs/{id}/artifacts/{name}: a link that works
// without the key for a while.
func (a *api) serveArtifact(c *gin.Context) {
	ctx := c.Request.Context()
	artifact, err := a.Methods.Artifact(ctx, c.Param("id"), c.Param("name"))
	if err != nil {
		a.fail(c, err)
		return
	}
	link, err := a.Methods.ArtifactURL(ctx, artifact)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("Location", link)
	c.Header("Referrer-Policy", "no-referrer")
	a.respond(c, http.StatusFound, "", nil)
}
