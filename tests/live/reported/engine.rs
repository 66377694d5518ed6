//! Containers and images: health as part of what is seen, images that nobody uses, failures of builds and first starts of an application.
